"""REST faces over `calls.services`: what a platform's clients see of tapeline.

A request becomes a principal and a frozen command, one method of the service is called, and its view is put into the
platform's shape. This package holds no rule about calls or recordings and knows no session, row, socket or file. `app.create_app`
puts it together; see README.md.
"""

from tapeline.api.app import create_app
from tapeline.api.auth import Authenticator
from tapeline.api.metrics import Metrics

__all__ = ["Authenticator", "Metrics", "create_app"]
