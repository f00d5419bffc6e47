from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from billing import telling
        from billing.credit import watching
        from billing.periods.prices import read_fee, read_tariff
        from marketplace import tariffs
        from marketplace.webhooks import types

        tariffs.plug(read_tariff, read_fee)
        types.declare(telling.TYPES)
        watching.published.append(telling.tell_alerts)
