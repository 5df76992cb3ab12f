"""Filters of messages as people might write them, for property tests (QU-18, QU-19)."""

from hypothesis import strategies as st

from connectors.queue_properties import MESSAGE, Kind


def filters(*, texts, lists, without=()):
    """Return a strategy of filters of one to three clauses on any property, compared with these texts."""

    def clause(prop):
        values = {
            Kind.TEXT: st.sampled_from(texts).map(lambda text: f"'{text}'"),
            Kind.LIST: st.sampled_from(lists).map(lambda text: f"'{text}'"),
            Kind.ENUM: st.sampled_from(sorted(prop.values) or ["x"]).map(lambda text: f"'{text}'"),
            Kind.INTEGER: st.sampled_from(["0", "2", "500000", "1MB"]),
            Kind.TIME: st.sampled_from(["'2026-03-01T12:10Z'", "'2026-03-03T12:20Z'"]),
            Kind.SPAN: st.sampled_from(["'00:00:00'", "'00:05:00'"]),
        }[prop.kind]
        return st.tuples(st.sampled_from(sorted(prop.operators)), values).map(
            lambda pair: f"{prop.name} {pair[0]}" + ("" if pair[0] in {"-present", "-absent"} else f" {pair[1]}")
        )

    properties = [prop for prop in MESSAGE.values() if prop.name not in without]
    return st.lists(st.sampled_from(properties).flatmap(clause), min_size=1, max_size=3).map(" -and ".join)
