"""Events out of libraries and frameworks, one file each, nothing imported before it is asked for.

asgi, wsgi     requests, in any ASGI or WSGI application
logging        a handler for the standard library's logging
structlog      a processor
opentelemetry  a span processor and a log record processor
asyncio        tasks, and callbacks that kept the loop busy
calls          calls of functions, while somebody listens (Python 3.12 and later)

docs/integrations/ has a page for each.
"""
