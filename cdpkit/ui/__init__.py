"""Dashboards for marketers: message catalogues, formats, the kit, the shell, the pages, the server."""
