"""Whether two machines agree what time it is: Flower's server takes what is signed at another time for a forgery, and does not
say so."""

import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from netsuke.core.errors import NetsukeError

AHEAD, BEHIND = 4.0, 295.0
"""Seconds that a client's clock may be; Flower allows 5 and 300, and the header has whole seconds."""
PATIENCE = 10.0


def check_clock(server: str, authority: Path) -> None:
    """Raises NetsukeError where this machine's clock and a server's are too far apart. authority: by which it is known."""
    trusted = ssl.create_default_context(cafile=authority)
    try:
        said = httpx.get(f"https://{server}/", verify=trusted, timeout=PATIENCE).headers["date"]
    except (httpx.HTTPError, KeyError) as error:
        if "not yet valid" in str(error) or "expired" in str(error):
            raise NetsukeError(
                f"by this machine's clock the certificate of {server} is not valid now; set it right"
            ) from error
        return  # whoever does not answer, or says no time, is Flower's to tell of
    apart = time.time() - parsedate_to_datetime(said).timestamp()
    if not -BEHIND < apart < AHEAD:
        way = "ahead of" if apart > 0 else "behind"
        raise NetsukeError(
            f"this machine's clock is {abs(apart):,.0f} s {way} the server's at {server}; set it right"
        )
