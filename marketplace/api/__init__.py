"""The HTTP doors of the marketplace: thin views; each module exposes `urlpatterns`."""
