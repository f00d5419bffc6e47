from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from billing.periods.prices import read_tariff
        from marketplace import tariffs

        tariffs.plug(read_tariff)
