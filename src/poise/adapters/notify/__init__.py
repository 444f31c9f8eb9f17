"""Ways of telling people: a webhook, and mail by SMTP.

They decide nothing; they read no store; they never wait longer than their time-out and never follow a
redirect.
"""
