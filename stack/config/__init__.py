"""What a person declares: the deployment file, hardware profiles, fault and budget tables."""
