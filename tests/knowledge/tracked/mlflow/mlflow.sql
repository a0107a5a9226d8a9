CREATE TABLE "experiments" (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), 
	creation_time BIGINT, 
	last_update_time BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "experiments" VALUES(0,'Default','/tmp/letters/mlruns/0','active',1796025791718,1796025791718,'default');
INSERT INTO "experiments" VALUES(1,'letters','/tmp/letters/mlruns/1','active',1796025791741,1796025791741,'default');
CREATE TABLE "latest_metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT, 
	step BIGINT NOT NULL, 
	is_nan BOOLEAN NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT latest_metric_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "latest_metrics" VALUES('train/loss',0.3,1796025791937,9,0,'6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "latest_metrics" VALUES('grad',1.79769313486231562234e+308,1796025791965,9,0,'6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "latest_metrics" VALUES('train/loss',0.0,1796025792317,9,1,'ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "latest_metrics" VALUES('grad',1.79769313486231562234e+308,1796025792341,9,0,'ba4bb88965ea4a4b8cc702fc0d108672');
CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('train/loss',3.0,1796025791841,'6bb42cf3f4c4423e88eea69ecd7b5eb1',0,0);
INSERT INTO "metrics" VALUES('train/loss',1.5,1796025791850,'6bb42cf3f4c4423e88eea69ecd7b5eb1',1,0);
INSERT INTO "metrics" VALUES('train/loss',1.0,1796025791858,'6bb42cf3f4c4423e88eea69ecd7b5eb1',2,0);
INSERT INTO "metrics" VALUES('train/loss',0.75,1796025791866,'6bb42cf3f4c4423e88eea69ecd7b5eb1',3,0);
INSERT INTO "metrics" VALUES('train/loss',0.6,1796025791874,'6bb42cf3f4c4423e88eea69ecd7b5eb1',4,0);
INSERT INTO "metrics" VALUES('train/loss',0.5,1796025791876,'6bb42cf3f4c4423e88eea69ecd7b5eb1',5,0);
INSERT INTO "metrics" VALUES('train/loss',4.28571428571428547638e-01,1796025791882,'6bb42cf3f4c4423e88eea69ecd7b5eb1',6,0);
INSERT INTO "metrics" VALUES('train/loss',0.375,1796025791885,'6bb42cf3f4c4423e88eea69ecd7b5eb1',7,0);
INSERT INTO "metrics" VALUES('train/loss',3.33333333333333314829e-01,1796025791909,'6bb42cf3f4c4423e88eea69ecd7b5eb1',8,0);
INSERT INTO "metrics" VALUES('train/loss',0.3,1796025791937,'6bb42cf3f4c4423e88eea69ecd7b5eb1',9,0);
INSERT INTO "metrics" VALUES('grad',1.79769313486231562234e+308,1796025791965,'6bb42cf3f4c4423e88eea69ecd7b5eb1',9,0);
INSERT INTO "metrics" VALUES('train/loss',3.5,1796025792109,'ba4bb88965ea4a4b8cc702fc0d108672',0,0);
INSERT INTO "metrics" VALUES('train/loss',1.75,1796025792133,'ba4bb88965ea4a4b8cc702fc0d108672',1,0);
INSERT INTO "metrics" VALUES('train/loss',1.16666666666666674068e+00,1796025792157,'ba4bb88965ea4a4b8cc702fc0d108672',2,0);
INSERT INTO "metrics" VALUES('train/loss',0.875,1796025792181,'ba4bb88965ea4a4b8cc702fc0d108672',3,0);
INSERT INTO "metrics" VALUES('train/loss',0.7,1796025792197,'ba4bb88965ea4a4b8cc702fc0d108672',4,0);
INSERT INTO "metrics" VALUES('train/loss',5.8333333333333337034e-01,1796025792221,'ba4bb88965ea4a4b8cc702fc0d108672',5,0);
INSERT INTO "metrics" VALUES('train/loss',0.5,1796025792245,'ba4bb88965ea4a4b8cc702fc0d108672',6,0);
INSERT INTO "metrics" VALUES('train/loss',0.4375,1796025792266,'ba4bb88965ea4a4b8cc702fc0d108672',7,0);
INSERT INTO "metrics" VALUES('train/loss',3.88888888888888895056e-01,1796025792293,'ba4bb88965ea4a4b8cc702fc0d108672',8,0);
INSERT INTO "metrics" VALUES('train/loss',0.0,1796025792317,'ba4bb88965ea4a4b8cc702fc0d108672',9,1);
INSERT INTO "metrics" VALUES('grad',1.79769313486231562234e+308,1796025792341,'ba4bb88965ea4a4b8cc702fc0d108672',9,0);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('lr','0.003','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "params" VALUES('seed','1','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "params" VALUES('act','relu','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "params" VALUES('bias','False','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "params" VALUES('lr','0.003','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "params" VALUES('seed','2','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "params" VALUES('act','relu','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "params" VALUES('bias','False','ba4bb88965ea4a4b8cc702fc0d108672');
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('6bb42cf3f4c4423e88eea69ecd7b5eb1','seed-1','UNKNOWN','','','root','FINISHED',1796025791774,1796025791993,'','active','/tmp/letters/mlruns/1/6bb42cf3f4c4423e88eea69ecd7b5eb1/artifacts',1,NULL);
INSERT INTO "runs" VALUES('ba4bb88965ea4a4b8cc702fc0d108672','seed-2','UNKNOWN','','','root','FAILED',1796025792032,1796025792377,'','active','/tmp/letters/mlruns/1/ba4bb88965ea4a4b8cc702fc0d108672/artifacts',1,NULL);
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('mlflow.user','root','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "tags" VALUES('mlflow.source.name','make.py','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "tags" VALUES('mlflow.source.type','LOCAL','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "tags" VALUES('mlflow.runName','seed-1','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "tags" VALUES('mlflow.source.git.commit','abc123','6bb42cf3f4c4423e88eea69ecd7b5eb1');
INSERT INTO "tags" VALUES('mlflow.user','root','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "tags" VALUES('mlflow.source.name','make.py','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "tags" VALUES('mlflow.source.type','LOCAL','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "tags" VALUES('mlflow.runName','seed-2','ba4bb88965ea4a4b8cc702fc0d108672');
INSERT INTO "tags" VALUES('mlflow.source.git.commit','abc123','ba4bb88965ea4a4b8cc702fc0d108672');
