"""Pages of the dashboards: each builds its payload in the nightly run and its sections in Voila."""
