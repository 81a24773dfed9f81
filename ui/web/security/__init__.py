"""Who may use the dashboard: login, tokens, the guard around every route."""
