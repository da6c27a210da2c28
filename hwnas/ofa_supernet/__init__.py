"""The supernet: elastic weights, subnets, extraction, recalibration, training, and the folder that holds one."""
