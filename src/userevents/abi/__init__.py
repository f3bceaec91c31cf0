"""Numbers and layouts only, one file per kernel header. No behaviour lives here.

"Source:" lines all over the package refer to the user_events contract as of Linux 6.12.117
(profile ``v6.12``), unless they name profile ``v6.4``.
"""
