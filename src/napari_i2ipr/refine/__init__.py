"""The learned half of I2I-PR: restoration network, data consistency, sampler, ensemble, uncertainty."""
