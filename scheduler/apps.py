from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    name = "scheduler"

    def ready(self) -> None:
        from marketplace import loads
        from scheduler.queries import loads_of_pools

        loads.plug(loads_of_pools)
