"""The dashboard of what each agent learns: policy, critic, discriminator, reward.

Read by `monitoring.dashboards`.
"""

from monitoring.dashboard_layout import (
    GREEN,
    OF_AGENT,
    ORANGE,
    RATE,
    RED,
    Dashboard,
    Panel,
    Query,
    Section,
    chart,
)

_LEGEND = "agent {{agent}}"


def _of_agents(title: str, unit: str, description: str, name: str, **options: object) -> Panel:
    """One curve per agent of a metric `dm2_learner_<name>`."""
    query = Query(f"dm2_learner_{name}{{{OF_AGENT}}}", _LEGEND)
    return chart(title, unit, description, query, **options)


_REWARD = Section(
    "Reward",
    (
        _of_agents(
            "Training win rate",
            "percentunit",
            "Of the sampled episodes of the last iteration. The agents share their battles: "
            "curves differ only while one learner is an iteration ahead.",
            "train_win_rate",
            minimum=0,
            maximum=1,
        ),
        _of_agents(
            "Reward of the environment",
            "none",
            "Sum over an episode, mean of the last iteration's episodes.",
            "train_return_mean",
            decimals=1,
        ),
        _of_agents(
            "Reward of the discriminator",
            "none",
            "Mean over the steps of the last iteration, before the coefficient: how much the "
            "agent resembles its expert in the eyes of its discriminator. dm2 only.",
            "imitation_reward_mean",
            decimals=2,
        ),
    ),
)

_POLICY = Section(
    "Policy",
    (
        _of_agents(
            "Entropy",
            "none",
            "In nats, over the actions that were available. Falls slowly while the policy makes "
            "up its mind; near 0 early means that it has collapsed.",
            "entropy",
            decimals=2,
        ),
        _of_agents(
            "Divergence of an update",
            "none",
            "Estimated divergence (KL, in nats) of the policy after an iteration's update from "
            "the one before. Above 0.05 for long: the steps are too large.",
            "approx_kl",
            steps=((0.05, ORANGE),),
        ),
        _of_agents(
            "Clipped importance ratios",
            "percentunit",
            "Share that ran into the clip range. Above half: updates are too large for it.",
            "clip_fraction",
            minimum=0,
            steps=((0.5, ORANGE),),
        ),
        _of_agents(
            "Policy loss",
            "none",
            "Clipped surrogate, mean of the last iteration. Near 0 by construction; watch for "
            "jumps, not for a trend.",
            "policy_loss",
        ),
        _of_agents(
            "Policy gradient norm",
            "none",
            "Before clipping. A sudden peak points to a broken batch.",
            "policy_gradient_norm",
            decimals=2,
        ),
        chart(
            "Gradient steps skipped",
            "none",
            "In a minute, by network: the loss or a gradient was not finite. Three in "
            "a row end the run; the batch is kept in post_mortem/.",
            Query(
                f"60 * sum by (what) (rate(dm2_learner_nonfinite_total{{{OF_AGENT}}}[{RATE}]))",
                "{{what}}",
            ),
            decimals=0,
            reaches=1,
            steps=((1, RED),),
        ),
    ),
)

_CRITIC = Section(
    "Critic",
    (
        _of_agents(
            "Explained variance",
            "percentunit",
            "Of the returns, by the critic: 1 is perfect, 0 no better than their mean, below 0 "
            "worse.",
            "explained_variance",
            maximum=1,
        ),
        _of_agents(
            "Value loss",
            "none",
            "Huber loss in units of the normalised return.",
            "value_loss",
            decimals=3,
        ),
        _of_agents(
            "Critic gradient norm",
            "none",
            "Before clipping.",
            "critic_gradient_norm",
            decimals=2,
        ),
    ),
)

_DISCRIMINATOR = Section(
    "Discriminator (dm2 only)",
    (
        _of_agents(
            "Accuracy",
            "percentunit",
            "How often it tells agent from expert. Half: it cannot, the agent plays like its "
            "expert. At 1 for long: the demonstrations cannot be matched.",
            "discriminator_accuracy",
            maximum=1,
            minimum=0,
            steps=((0.5, GREEN), (0.98, ORANGE)),
        ),
        chart(
            "Logits",
            "none",
            "Mean on demonstrations and on the agent's own episodes; expert is high. The further "
            "apart, the surer the discriminator.",
            Query(f"dm2_learner_logit_expert_mean{{{OF_AGENT}}}", "agent {{agent}}: expert"),
            Query(f"dm2_learner_logit_agent_mean{{{OF_AGENT}}}", "agent {{agent}}: own"),
            decimals=2,
        ),
        chart(
            "Loss and penalty",
            "none",
            "Binary cross-entropy, 0.69 when it cannot tell the two apart, and the gradient "
            "penalty that keeps it smooth.",
            Query(f"dm2_learner_discriminator_loss{{{OF_AGENT}}}", "agent {{agent}}: loss"),
            Query(f"dm2_learner_gradient_penalty{{{OF_AGENT}}}", "agent {{agent}}: penalty"),
            decimals=2,
        ),
    ),
)

_STALENESS = Section(
    "Was it learned from the right data?",
    (
        _of_agents(
            "Effective sample size",
            "percentunit",
            "Share of the batch that counts after weighing by importance ratios. 1 at lag 0; "
            "small means that the policies that played were too old.",
            "effective_sample_size",
            minimum=0,
            maximum=1,
            steps=((0.5, GREEN),),
            base=RED,
        ),
        chart(
            "Probability ratio to the policy that played",
            "none",
            "Mean of the policy before the update over the one that played; 1 at lag 0, and close "
            "to it otherwise.",
            Query(f"dm2_learner_behaviour_ratio_mean{{{OF_AGENT}}}", _LEGEND),
            from_zero=False,
        ),
        _of_agents(
            "Mismatch of log-probabilities",
            "none",
            "Largest difference between what an actor recorded and what the learner computes for "
            "the same parameters, in nats. At lag 0 anything above 0.001 is a bug; otherwise it "
            "contains the learning of that many versions.",
            "log_prob_mismatch",
        ),
        _of_agents(
            "Distance to the policy that played",
            "none",
            "Mean size of the logarithm of that ratio, in nats, before anything is cut off: how "
            "far the policy has moved since. 0 at lag 0.",
            "behaviour_log_ratio_mean",
            decimals=3,
        ),
        _of_agents(
            "Ratios above the cap",
            "percentunit",
            "Share of importance ratios that were cut off at their cap. 0 at lag 0.",
            "behaviour_ratio_capped_fraction",
            minimum=0,
        ),
        chart(
            "Age of the own policy that played",
            "none",
            "Versions, mean over the tickets trained on.",
            Query(
                "sum by (agent) "
                f"(rate(dm2_learner_policy_lag_versions_sum{{{OF_AGENT}}}[{RATE}]))"
                " / sum by (agent) "
                f"(rate(dm2_learner_policy_lag_versions_count{{{OF_AGENT}}}[{RATE}]))",
                _LEGEND,
            ),
            decimals=1,
        ),
        chart(
            "Policy version",
            "none",
            "Newest committed. Curves that drift apart: one learner is behind, the others wait.",
            Query(f"dm2_learner_policy_version{{{OF_AGENT}}}", _LEGEND),
            decimals=0,
        ),
    ),
)

LEARNING = Dashboard(
    "dm2-learning",
    "dm2 · Learning",
    "What each agent learns: losses, entropy, divergence, discriminator, reward.",
    (_REWARD, _POLICY, _CRITIC, _DISCRIMINATOR, _STALENESS),
)
