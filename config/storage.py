"""Static files under names that carry their content's hash, inside ES modules too."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Rewrite relative `import` and `export … from` addresses as well (they must end in a semicolon)."""

    support_js_module_import_aggregation = True


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Serve what a newer version has collected since this process began, too: its pages may ask any process."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.directories = [(f"{self.static_root}/", self.static_prefix)]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        file = self.files.get(request.path_info) or self.find_file(request.path_info)
        return self.serve(file, request) if file else self.get_response(request)
