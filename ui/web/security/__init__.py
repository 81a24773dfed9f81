"""Access to the dashboard: login, API tokens, and the guard around every route."""
