# What two independent readers of bounces make of the files of a directory, as one JSON object a file.
use strict; use warnings;
use JSON; use Sisimai; use Mail::DeliveryStatus::BounceParser;
my $json = JSON->new->canonical->utf8;
for my $path (sort glob("$ARGV[0]/*.eml")) {
    open(my $file, '<:raw', $path) or die $path; my $text = do { local $/; <$file> };
    my $found = Sisimai->make($path) // [];
    my @sisimai = map { { recipient => $_->recipient->address, action => $_->action, status => $_->deliverystatus,
                          reason => $_->reason, diagnostic => $_->diagnosticcode } } @$found;
    my $bounce = Mail::DeliveryStatus::BounceParser->new($text);
    my @parser;
    for my $report ($bounce->reports) {
        my %fact = map { ($_ => scalar $report->get($_)) } qw(email action std_reason reason status);
        defined and s/\s+\z// for values %fact;
        push @parser, \%fact;
    }
    print $json->encode({ name => $path, sisimai => \@sisimai, parser => \@parser, is_bounce => $bounce->is_bounce ? 1 : 0 }), "\n";
}
