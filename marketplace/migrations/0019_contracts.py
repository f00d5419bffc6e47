"""What an organization has agreed on with the platform, in versions that never change."""

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.db import migrations, models

GUARD = """
-- A contract may be ended, nothing else about it changes.
CREATE FUNCTION marketplace_keep_contract() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND lower(NEW.valid) = lower(OLD.valid)
     AND to_jsonb(NEW) - 'valid' = to_jsonb(OLD) - 'valid' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a contract is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER contract_stays BEFORE UPDATE OR DELETE ON marketplace_contract
  FOR EACH ROW EXECUTE FUNCTION marketplace_keep_contract();
ALTER TABLE marketplace_contract ENABLE ALWAYS TRIGGER contract_stays;
"""
UNGUARD = """
DROP TRIGGER contract_stays ON marketplace_contract;
DROP FUNCTION marketplace_keep_contract();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0018_demand'),
    ]

    operations = [
        migrations.CreateModel(
            name='Contract',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('valid', django.contrib.postgres.fields.ranges.DateTimeRangeField(help_text='[from, to)')),
                ('zone', models.CharField(max_length=50)),
                ('currency', models.CharField(max_length=3)),
                ('grace_days', models.PositiveSmallIntegerField()),
                ('due_days', models.PositiveSmallIntegerField()),
                ('credit_limit_micros', models.BigIntegerField(blank=True, null=True)),
                ('platform_basis_points', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('carries_remainder', models.BooleanField(default=True)),
                ('note', models.CharField(blank=True, default='', max_length=300)),
                ('signed_at', models.DateTimeField()),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='contracts', to='marketplace.organization')),
            ],
            options={
                'constraints': [django.contrib.postgres.constraints.ExclusionConstraint(expressions=[(models.Func('organization_id', 'organization_id', models.Value('[]'), function='int8range'), '&&'), ('valid', '&&')], name='contracts_do_not_overlap'), models.CheckConstraint(condition=models.Q(('valid__isempty', False), ('valid__lower_inf', False)), name='contract_begins'), models.CheckConstraint(condition=models.Q(('credit_limit_micros__isnull', True), ('credit_limit_micros__gte', 0), _connector='OR'), name='contract_limit_not_negative'), models.CheckConstraint(condition=models.Q(('platform_basis_points__isnull', True), ('platform_basis_points__lte', 10000), _connector='OR'), name='contract_share_is_a_part'), models.CheckConstraint(condition=models.Q(('due_days__lte', 365), ('grace_days__lte', 31)), name='contract_days_are_sane')],
            },
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
