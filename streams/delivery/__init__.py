"""What operators see and do about deliveries: how destinations do, dead letters, sending again."""
