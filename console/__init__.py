"""The pages of people who are no operators: what the API does for programs, for browsers, by session.

No rules and no rows of its own: every page calls the services and queries that the API calls, and asks for the same scopes.
"""
