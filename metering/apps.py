from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "metering"

    def ready(self) -> None:
        from marketplace.webhooks import types
        from metering import telling

        types.declare(telling.TYPES)
