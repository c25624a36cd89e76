"""Two devices pair: what both sides say, over a TLS connection for which the joiner showed no certificate.

    joiner     {"pairing": 1, "form": "code", "certificate": BASE64, "name": "laptop", "pake": HEX}
    inviter    {"pake": HEX}
    joiner     {"confirm": HEX, "signature": HEX}
    inviter    {"confirm": HEX, "name": "desk", "addresses": [...]}      or  {"refused": "wrong"}
    joiner     {"done": true, "addresses": [...]}                        and the inviter closes once it has stored it

A stranger is told nothing: until the joiner has confirmed, all that the inviter says is an element of the group, which
is as good as random. The joiner confirms first, so whoever passes for a joiner has one guess; and it confirms once in
its life, so whoever passes for the inviter has one too. The keys that come of it contain both certificates: with
somebody in between, each side sees another one, and no confirmation holds. TLS has shown that the inviter's certificate
is its own; the joiner shows it by signing its confirmation.
"""

from __future__ import annotations

from coterie.net.inviter import invite_side
from coterie.net.joiner import join_side
from coterie.net.paired import Paired

__all__ = ["Paired", "invite_side", "join_side"]
