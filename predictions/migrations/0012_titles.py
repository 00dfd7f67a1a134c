from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('predictions', '0011_ratings_and_lengths'),
    ]

    operations = [
        migrations.AddField(
            model_name='model',
            name='makes_titles',
            field=models.BooleanField(default=False, help_text='It is asked once for each new conversation, when its first answer is there, and only while nobody waits. One model at most does it: this one takes the place of any other. Without one, a title is the first line of the question. Choose a small, quick model.', verbose_name='makes the titles of conversations'),
        ),
        migrations.AddField(
            model_name='prediction',
            name='is_background',
            field=models.BooleanField(default=False, verbose_name='nobody waits for it'),
        ),
        migrations.AddConstraint(
            model_name='model',
            constraint=models.UniqueConstraint(condition=models.Q(('makes_titles', True)), fields=('makes_titles',), name='one_model_makes_titles'),
        ),
    ]
