"""Types that every part shares; numpy is the only dependency."""
