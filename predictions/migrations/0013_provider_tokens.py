from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('predictions', '0012_titles'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='encrypted_token',
            field=models.TextField(blank=True, db_default='', default='', editable=False),
        ),
    ]
