import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0006_deleted_messages'),
        ('predictions', '0012_titles'),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='is_titled',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='conversation',
            name='title_prediction',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='titled', to='predictions.prediction'),
        ),
    ]
