"""What a corrected usage record changes is a charge of its own, which may be negative."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0013_periods'),
        ('marketplace', '0022_prices'),
        ('metering', '0009_zones'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='charge',
            name='charge_of_usage_names_it',
        ),
        migrations.RemoveConstraint(
            model_name='charge',
            name='charge_of_nobody_is_zero',
        ),
        migrations.AlterField(
            model_name='charge',
            name='kind',
            field=models.CharField(choices=[('usage', 'Usage'), ('fee', 'Fee'), ('delta', 'Delta')], max_length=5),
        ),
        migrations.AddConstraint(
            model_name='charge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['usage', 'delta']), ('usage__isnull', False)), models.Q(('kind', 'fee'), ('usage__isnull', True)), _connector='OR'), name='charge_of_usage_names_it'),
        ),
        migrations.AddConstraint(
            model_name='charge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount_micros', 0), ('payer', 'nobody')), models.Q(models.Q(('payer', 'nobody'), _negated=True), models.Q(('amount_micros__gte', 0), ('kind', 'delta'), _connector='OR')), _connector='OR'), name='charge_of_nobody_is_zero'),
        ),
    ]
