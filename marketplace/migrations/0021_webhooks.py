"""Webhooks: endpoints, secrets, the outbox, deliveries and their log, with the triggers that keep their promises."""

from pathlib import Path

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.ids

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0020_zones'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('url', models.CharField(max_length=500)),
                ('types', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), size=None)),
                ('description', models.CharField(blank=True, default='', max_length=200)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('disabled_because', models.CharField(blank=True, default='', help_text="the notice; empty: its owner's wish", max_length=200)),
                ('failing_since', models.DateTimeField(blank=True, help_text='first failure since the last success', null=True)),
                ('troubled', models.BooleanField(default=False, help_text='its last answer was bad or slow: it is asked one thing at a time')),
                ('delivered_at', models.DateTimeField(blank=True, help_text='when something last reached it', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='marketplace.organization')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookEvent',
            fields=[
                ('number', models.BigAutoField(primary_key=True, serialize=False)),
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, unique=True)),
                ('type', models.CharField(max_length=64)),
                ('subject', models.CharField(help_text='what it happened to, `task/<id>`: the key of the order', max_length=120)),
                ('data', models.JSONField()),
                ('occurred_at', models.DateTimeField()),
                ('key', models.CharField(max_length=200)),
                ('written_at', models.DateTimeField()),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='webhook_events', to='marketplace.organization')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(help_text="the event's", max_length=120)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('delivered', 'Delivered'), ('given_up', 'Given Up')], default='pending', max_length=9)),
                ('tries', models.PositiveIntegerField(default=0, help_text='claims so far; the fence of the one that runs')),
                ('tries_before', models.PositiveIntegerField(default=0, help_text='tries before it was last replayed')),
                ('first_tried_at', models.DateTimeField(blank=True, help_text='since it was made, or replayed', null=True)),
                ('due_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('status', models.PositiveSmallIntegerField(blank=True, help_text='of the last answer', null=True)),
                ('error', models.CharField(blank=True, default='', help_text='why the last try had no answer, a code', max_length=40)),
                ('endpoint', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='marketplace.webhookendpoint')),
                ('event', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='marketplace.webhookevent')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sealed', models.CharField(help_text='encrypted; see webhooks/signing.py', max_length=300)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='secrets', to='marketplace.webhookendpoint')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookTry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('request_id', models.UUIDField(help_text='sent along as x-request-id')),
                ('number', models.PositiveIntegerField()),
                ('at', models.DateTimeField()),
                ('status', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('error', models.CharField(blank=True, default='', max_length=40)),
                ('detail', models.CharField(blank=True, default='', max_length=300)),
                ('answer', models.TextField(blank=True, default='', help_text='the first KB of it')),
                ('ms', models.PositiveIntegerField()),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='log', to='marketplace.webhookdelivery')),
            ],
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('types', []), _negated=True), name='webhook_wants_something'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('disabled_because', ''), ('disabled_at__isnull', False), _connector='OR'), name='webhook_notice_iff_disabled'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(fields=['written_at'], name='webhook_event_age'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(fields=['organization', 'subject'], name='webhook_event_subject'),
        ),
        migrations.AddConstraint(
            model_name='webhookevent',
            constraint=models.UniqueConstraint(fields=('organization', 'key'), name='webhook_event_once'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state__in', ['pending', 'sending'])), fields=['endpoint', 'due_at', 'id'], name='webhook_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state__in', ['pending', 'sending'])), fields=['endpoint', 'subject', 'event'], name='webhook_order'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['endpoint', '-id'], name='webhook_delivery_pages'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('event', 'endpoint'), name='webhook_delivery_once'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('state__in', ['pending', 'sending'])), models.Q(('ended_at__isnull', False), ('state__in', ['delivered', 'given_up'])), _connector='OR'), name='webhook_ended_at_iff_ended'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending']), models.Q(('first_tried_at__isnull', False), ('tries__gte', 1)), _connector='OR'), name='webhook_sent_was_tried'),
        ),
        migrations.AddConstraint(
            model_name='webhooksecret',
            constraint=models.UniqueConstraint(condition=models.Q(('expires_at__isnull', True)), fields=('endpoint',), name='webhook_one_secret_stays'),
        ),
        migrations.RunSQL(
            (SQL / "0021_webhooks.sql").read_text(), (SQL / "0021_webhooks_reverse.sql").read_text()
        ),
    ]
