"""What a pool's cores do by a benchmark of HEP, as its provider declares it: for usage records of computing centres."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0030_fees_by_month'),
    ]

    operations = [
        migrations.AddField(
            model_name='pool',
            name='benchmark',
            field=models.CharField(blank=True, choices=[('si2k', 'SPECint2000'), ('hepspec', 'HEP-SPEC06'), ('hepscore23', 'HEPScore23')], db_default='', default='', max_length=10),
        ),
        migrations.AddField(
            model_name='pool',
            name='benchmark_per_core',
            field=models.DecimalField(blank=True, decimal_places=4, max_digits=12, null=True),
        ),
        migrations.AddConstraint(
            model_name='pool',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('benchmark', ''), ('benchmark_per_core__isnull', True)), models.Q(('benchmark__in', ['si2k', 'hepspec', 'hepscore23']), ('benchmark_per_core__gt', 0), ('benchmark_per_core__isnull', False)), _connector='OR'), name='pool_benchmark_has_a_value'),
        ),
    ]
