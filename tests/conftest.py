from hypothesis import HealthCheck, settings

# a busy machine is no reason for a test to fail
settings.register_profile("netc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("netc")
