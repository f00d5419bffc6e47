"""The network between regions: graph, paths, reservations, segment lists, metrics. Pure: no module here knows the database."""
