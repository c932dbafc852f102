"""What every training peer is set to: IPPO on 5m_vs_6m as our preset `paper-5v6` has it.

Standard library only: the scripts that use it run in different interpreters.
"""

MAP = "5m_vs_6m"
NUM_AGENTS = 5
HIDDEN = 64
"""Width of the two ReLU layers and of the GRU."""
ITERATION_ENV_STEPS = 7936
"""Joint steps of an iteration: 256 episodes of 31 steps, about their length on this map."""
CHUNK_LENGTH = 10
"""Steps of back-propagation through time, where the peer cuts its sequences."""
EPOCHS = 10
LEARNING_RATE = 5e-4
CLIP = 0.05
DISCOUNT = 0.99
GAE_LAMBDA = 0.95
ENTROPY_COEFFICIENT = 0.01
VALUE_COEFFICIENT = 0.5
MAX_GRADIENT_NORM = 10.0
