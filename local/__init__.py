"""Brings up a real Kubernetes cluster, with a real engine in it, on one machine.

The project is proved against a real API server, scheduler and kubelet, on machines that may reach a container registry
or nothing but package indexes. Only the standard library is used, so that it runs before anything is installed.
"""
