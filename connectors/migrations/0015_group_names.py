from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("connectors", "0014_drain")]

    operations = [
        migrations.AlterModelOptions(
            name="group",
            options={"verbose_name": "distribution group", "verbose_name_plural": "distribution groups"},
        ),
    ]
