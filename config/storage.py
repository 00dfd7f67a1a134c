"""Static files under names that carry their content's hash, inside ES modules too."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Rewrite relative `import` and `export … from` addresses as well (they must end in a semicolon)."""

    support_js_module_import_aggregation = True
