"""pcsim: when layers learn in parallel, how much faster is predictive coding than backprop?"""
