"""What crosses the network: identity, pairing, links. Nothing here knows what the frames are about."""
