"""Publishers' fees are charged by month, too: months have a publisher, who gets a share."""

from pathlib import Path

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0035_disputed_months'),
        ('marketplace', '0030_fees_by_month'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='payoutline',
            name='payout_line_is_of_its_share',
        ),
        migrations.RemoveConstraint(
            model_name='periodcharge',
            name='period_split_adds_up',
        ),
        migrations.RemoveConstraint(
            model_name='periodpreview',
            name='period_preview_once',
        ),
        migrations.RemoveConstraint(
            model_name='periodsubject',
            name='period_subject_once',
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='publisher',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='publisher_micros',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='version',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.capabilityversion'),
        ),
        migrations.AddField(
            model_name='periodpreview',
            name='version',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketplace.capabilityversion'),
        ),
        migrations.AddField(
            model_name='periodsubject',
            name='version',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.capabilityversion'),
        ),
        migrations.AlterField(
            model_name='periodcharge',
            name='offer',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.offer'),
        ),
        migrations.AlterField(
            model_name='periodcharge',
            name='provider',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AlterField(
            model_name='periodpreview',
            name='offer',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketplace.offer'),
        ),
        migrations.AlterField(
            model_name='periodsubject',
            name='offer',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.offer'),
        ),
        migrations.AddIndex(
            model_name='periodcharge',
            index=models.Index(condition=models.Q(('publisher__isnull', False)), fields=['publisher', 'rated_at'], name='period_charge_of_publisher'),
        ),
        migrations.AddConstraint(
            model_name='payoutline',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('period_charge', None), ('release', None), ('role', 'provider'), ('share', django.db.models.expressions.CombinedExpression(models.F('charge_id'), '*', models.Value(2))), ('withholding', None)), models.Q(('period_charge', None), ('release', None), ('role', 'publisher'), ('share', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('charge_id'), '*', models.Value(2)), '+', models.Value(1))), ('withholding', None)), models.Q(('charge', None), ('release', None), ('role__in', ['provider', 'publisher']), ('share', django.db.models.expressions.CombinedExpression(models.F('period_charge_id'), '*', models.Value(-1))), ('share__gt', -4000000000000000000), ('withholding', None)), models.Q(('charge', None), ('period_charge', None), ('release', None), ('role', 'reserve'), ('share', django.db.models.expressions.CombinedExpression(models.Value(-4000000000000000000), '-', django.db.models.expressions.CombinedExpression(models.F('withholding_id'), '*', models.Value(2))))), models.Q(('charge', None), ('period_charge', None), ('role', 'provider'), ('share', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.Value(-4000000000000000000), '-', django.db.models.expressions.CombinedExpression(models.F('release_id'), '*', models.Value(2))), '-', models.Value(1))), ('withholding', None)), _connector='OR'), name='payout_line_is_of_its_share'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('provider_micros'), '+', models.F('publisher_micros')), '+', models.F('platform_micros')))), name='period_split_adds_up'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('offer__isnull', False), ('version__isnull', True)), models.Q(('offer__isnull', True), ('version__isnull', False)), _connector='OR'), name='period_charge_has_one_list'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('offer__isnull', False), ('provider__isnull', False), ('publisher__isnull', True), ('publisher_micros', 0)), models.Q(('offer__isnull', True), ('provider__isnull', True), ('provider_micros', 0), ('publisher__isnull', False)), _connector='OR'), name='period_share_has_its_payee'),
        ),
        migrations.AddConstraint(
            model_name='periodpreview',
            constraint=models.UniqueConstraint(fields=('organization', 'period', 'offer', 'version', 'meter', 'payer'), name='period_preview_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='periodpreview',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('offer__isnull', False), ('version__isnull', True)), models.Q(('offer__isnull', True), ('version__isnull', False)), _connector='OR'), name='period_preview_has_one_list'),
        ),
        migrations.AddConstraint(
            model_name='periodsubject',
            constraint=models.UniqueConstraint(fields=('organization', 'offer', 'version', 'meter', 'payer'), name='period_subject_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='periodsubject',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('offer__isnull', False), ('version__isnull', True)), models.Q(('offer__isnull', True), ('version__isnull', False)), _connector='OR'), name='period_subject_has_one_list'),
        ),
        migrations.RunSQL((SQL / "0036_fees_by_month.sql").read_text(), (SQL / "0036_fees_by_month_reverse.sql").read_text()),
    ]
