from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    name = "scheduler"

    def ready(self) -> None:
        from marketplace import loads, reputations
        from scheduler.services.standing import reputations_of
        from scheduler.snapshots import loads_of_pools

        loads.plug(loads_of_pools)
        reputations.plug(reputations_of)
