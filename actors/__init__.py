"""The process that plays: leases tickets, plays them, ships what each agent saw to its learner."""
