"""The pages: pure functions from a view (plain data) to one HTML document, and the assets they use.

It decides how facts are shown: what the first line says, what stands first, how a chart is drawn.
It reads only the view that it is given and its own static files. It never queries the store, asks for
the time, checks a permission or performs an act: forms post to the API, which does.
"""
