from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    name = "scheduler"

    def ready(self) -> None:
        from marketplace import loads, reputations
        from scheduler.queries import loads_of_pools
        from scheduler.services.standing import reputations_of

        loads.plug(loads_of_pools)
        reputations.plug(reputations_of)
