from pathlib import Path

from django.db import migrations, models
from django.db.models import Q

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0030_lighter_closing")]

    operations = [
        migrations.AddField("paymentreversal", "amount_micros", models.BigIntegerField(null=True)),
        migrations.RunSQL((SQL / "0031_partial_reversals.sql").read_text(), (SQL / "0031_partial_reversals_reverse.sql").read_text()),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    "paymentreversal",
                    "amount_micros",
                    models.BigIntegerField(help_text="what of the payment was taken back; a trigger keeps it within the payment"),
                )
            ]
        ),
        migrations.AddConstraint(
            "paymentreversal", models.CheckConstraint(condition=Q(amount_micros__gt=0), name="payment_reversal_is_positive")
        ),
    ]
