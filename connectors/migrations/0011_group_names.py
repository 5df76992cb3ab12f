from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("connectors", "0009_deliver_again")]

    operations = [
        migrations.AlterModelOptions(
            name="group",
            options={"verbose_name": "distribution group", "verbose_name_plural": "distribution groups"},
        ),
    ]
