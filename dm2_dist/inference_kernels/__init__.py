"""The compiled functions of `dm2_dist.inference`: arithmetic of rows, choice of actions, the step.

Every number is computed by itself and in an order that is written down here: neither the other
battles of a batch nor the width of the processor's vectors reach its bits.
"""
