"""Exports that were asked for, and the trigger that keeps to their moves."""

from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.ids

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0020_self_metered'),
        ('marketplace', '0025_own_prices'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Export',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(max_length=12)),
                ('schema', models.CharField(help_text='kind and version of its columns', max_length=20)),
                ('format', models.CharField(max_length=12)),
                ('party', models.CharField(help_text="as whom the organization asks; all: everybody's", max_length=9)),
                ('starts_at', models.DateTimeField(help_text='included')),
                ('ends_at', models.DateTimeField(help_text='excluded')),
                ('currency', models.CharField(blank=True, default='', help_text='only this one; empty: any', max_length=3)),
                ('group_by', models.CharField(blank=True, default='', help_text='of statements', max_length=10)),
                ('in_ascii', models.BooleanField(default=False)),
                ('key', models.CharField(max_length=64)),
                ('state', models.CharField(choices=[('requested', 'Requested'), ('running', 'Running'), ('ready', 'Ready'), ('failed', 'Failed'), ('expired', 'Expired')], default='requested', max_length=9)),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('estimated', models.BigIntegerField(blank=True, null=True)),
                ('rows', models.BigIntegerField(default=0)),
                ('bytes', models.BigIntegerField(blank=True, null=True)),
                ('sha256', models.CharField(blank=True, default='', max_length=64)),
                ('reason', models.CharField(blank=True, default='', help_text='why it failed, or is tried again', max_length=300)),
                ('requested_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, help_text='ready or failed', null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization')),
                ('requested_by', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['organization', 'id'], name='export_of_organization'), models.Index(condition=models.Q(('state__in', ['requested', 'running'])), fields=['id'], name='export_open'), models.Index(condition=models.Q(('state', 'ready')), fields=['expires_at'], name='export_expires')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state__in', ['requested', 'running'])), fields=('key',), name='export_open_once'), models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['ready', 'expired']), _negated=True), models.Q(('bytes__isnull', False), ('expires_at__isnull', False), ('sha256__regex', '^[0-9a-f]{64}$')), _connector='OR'), name='export_ready_has_a_file'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'running'), _negated=True), ('lease_until__isnull', False), _connector='OR'), name='export_runs_under_a_lease'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'failed'), _negated=True), models.Q(('reason', ''), _negated=True), _connector='OR'), name='export_failed_says_why'), models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('state__in', ['requested', 'running'])), models.Q(models.Q(('state__in', ['requested', 'running']), _negated=True), ('ended_at__isnull', False)), _connector='OR'), name='export_ends_once'), models.CheckConstraint(condition=models.Q(('rows__gte', 0), ('starts_at__lte', models.F('ends_at'))), name='export_is_sane')],
            },
        ),
        migrations.RunSQL((SQL / "exports.sql").read_text(), (SQL / "exports_reverse.sql").read_text()),
    ]
