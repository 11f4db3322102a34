"""One member, without I/O: consensus, state, and whoever waits for either. See trimaran.member.member."""
