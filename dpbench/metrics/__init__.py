"""Metrics, evaluators and protocols.

Nothing is imported here, so that naming a protocol or listing metrics does not
load torch. The modules are:

* ``protocol``: what makes two scores comparable;
* ``evaluators``: the networks that turn images into features and logits;
* ``views``: images under an evaluator, and the references they are scored against;
* ``frechet``, ``inception_score``, ``kid``, ``prdc``, ``classes``, ``downstream``,
  ``leakage``: the figures, as functions;
* ``plugin``: the same as metric plugins;
* ``uncertainty``: several seeds to intervals and ranks.
"""
