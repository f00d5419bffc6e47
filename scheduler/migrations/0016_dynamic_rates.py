"""Shadow prices are what dynamic rates follow."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduler', '0015_pool_events'),
    ]

    operations = [
        migrations.AlterField(
            model_name='marketprice',
            name='price',
            field=models.FloatField(help_text='what dynamic rates follow'),
        ),
    ]
